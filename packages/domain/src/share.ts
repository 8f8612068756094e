/** How a share is written, for errors. */
export const SHARE_FORM = 'a percentage such as 80%, or a decimal fraction such as 0.8';

/**
 * Reads a share: a percentage with its sign, or a decimal fraction. Numbers without a point are refused, but 0: a 1 may
 * mean 1% or 100%.
 * @returns 0 to 1; undefined if the text is no share
 */
export function parseShare(text: string): number | undefined {
  const [, percentage, fraction] = /^(?:(\d+\.?\d*|\.\d+)%|(0|\d*\.\d+|\d+\.\d*))$/.exec(text) ?? [];
  const share = percentage === undefined ? Number(fraction) : Number(percentage) / 100;
  return share >= 0 && share <= 1 ? share : undefined;
}
