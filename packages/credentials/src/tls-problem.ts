/** Names and files that the text of a TLS failure needs. */
export interface TlsProblemContext {
  /** Options or variables: of the authorities' file, of this side's certificate, of the server's name. */
  readonly fields: { readonly authorities: string; readonly certificate: string; readonly serverName: string };
  /** File of the authorities; '': those that Node brings. */
  readonly authoritiesPath: string;
  /** File of this side's certificate; '' if it has none. */
  readonly certificatePath: string;
}

/** Stands for a code: the server closed the connection just after the TLS handshake, without a reason. */
export const CLOSED_EARLY = 'CLOSED_EARLY';

const EXPIRED = /CERT_HAS_EXPIRED|^certificate has expired|: certificate has expired/;
const EARLY = /CERT_NOT_YET_VALID|certificate is not yet valid/;
const OTHER_NAME = /ERR_TLS_CERT_ALTNAME_INVALID|does not match certificate's altnames/;
const UNTRUSTED =
  /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|unable to verify the first certificate|unable to get (local )?issuer certificate|self-signed certificate/;
const PLAIN =
  /ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|wrong version number|packet length too long|before secure TLS connection/;
/** Alerts by which a server refuses this side's certificate, or asks for one. */
const REFUSED =
  /alert (certificate required|bad certificate|unknown ca|unsupported certificate|certificate \w+|handshake failure)/i;

/**
 * Returns why a TLS connection failed and the remedy, or '' if the failure is not about TLS.
 * @param failure of `tls.connect`; a library may have wrapped its text
 */
export function tlsProblem(
  { code = '', message = '' }: { readonly code?: string | undefined; readonly message?: string },
  { fields, authoritiesPath, certificatePath }: TlsProblemContext,
): string {
  const text = `${code} ${message}`;
  if (EXPIRED.test(text)) return "the server's certificate has expired; renew it there";
  if (EARLY.test(text)) return "the server's certificate is not valid yet; check both machines' clocks";
  if (OTHER_NAME.test(text)) {
    return `the server's certificate is for another name; call the server by a name of its certificate, or set ${fields.serverName}`;
  }
  if (UNTRUSTED.test(text)) {
    const authorities = authoritiesPath === '' ? 'that is known here' : `of ${authoritiesPath}`;
    return `the server's certificate is not signed by an authority ${authorities}; set ${fields.authorities} to the file of its authority`;
  }
  if (PLAIN.test(text)) return 'the server does not use TLS at this port; turn it on there, or off here';
  const refused = REFUSED.test(text.replaceAll('_', ' '));
  if (certificatePath === '') {
    return refused ? `the server requires a client certificate; set ${fields.certificate}` : '';
  }
  if (!refused && code !== CLOSED_EARLY) return '';
  return `the server closed the connection after the handshake, as it does if it refuses the client certificate of ${certificatePath}; set ${fields.certificate} to one for clients, of an authority that the server trusts`;
}
