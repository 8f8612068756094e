/** Names and files that the text of a TLS failure needs. */
export interface TlsProblemContext {
  /** Options or variables: of the authorities' file, of this client's certificate, of the server's name. */
  readonly fields: { readonly authorities: string; readonly certificate: string; readonly serverName: string };
  /** File of the authorities. */
  readonly authoritiesPath: string;
  /** File of this client's certificate; '' if it has none. */
  readonly certificatePath: string;
}

/** Stands for a code: the server closed the connection just after the TLS handshake, without a reason. */
export const CLOSED_EARLY = 'CLOSED_EARLY';

const UNTRUSTED = /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?|.*SELF_SIGNED_CERT.*)$/;
/** Alerts by which a server refuses this client's certificate, or asks for one. */
const REFUSED =
  /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_EXPIRED|.*CERTIFICATE.*)|HANDSHAKE_FAILURE/;

/**
 * Returns why a TLS connection failed and the remedy, or '' if the failure is not about TLS.
 * @param code of the error of `tls.connect`
 */
export function tlsProblem(code: string, context: TlsProblemContext): string {
  const { fields, authoritiesPath, certificatePath } = context;
  if (code === 'CERT_HAS_EXPIRED') return "the server's certificate has expired; renew it there";
  if (code === 'CERT_NOT_YET_VALID') return "the server's certificate is not valid yet; check both machines' clocks";
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the server's certificate is for another name; call the server by a name of its certificate, or set ${fields.serverName}`;
  }
  if (UNTRUSTED.test(code)) {
    return `the server's certificate is not signed by an authority of ${authoritiesPath}; set ${fields.authorities} to the file of its authority`;
  }
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return `the server does not use TLS; set its certificate there, or unset ${fields.authorities} here`;
  }
  if (certificatePath === '') {
    return REFUSED.test(code) ? `the server requires a client certificate; set ${fields.certificate}` : '';
  }
  if (!REFUSED.test(code) && code !== CLOSED_EARLY) return '';
  return `the server closed the connection after the handshake, as it does if it refuses the client certificate of ${certificatePath}; set ${fields.certificate} to one for clients, of an authority that the server trusts`;
}
