// Checks the outside packages: every entry of both lock files has a digest, and every package that production needs has
// an allowed licence. `npm test` runs it; it needs no network. scripts/packages.json has the
// allowed licences, and exceptions by package name with the reason.
import { isAllowedExpression } from './licence-expression.mjs';
import { LOCKED_FOLDERS, lockedPackages, policy, shippedPackages } from './packages.mjs';

const problems = [];
for (const folder of LOCKED_FOLDERS) {
  for (const [path, { link, integrity, resolved }] of lockedPackages(folder)) {
    if (link || !path.includes('node_modules/')) continue;
    const named = folder === '.' ? path : `${folder}/${path}`;
    if (!/^sha512-/.test(integrity ?? '')) problems.push(`${named}: has no sha512 digest in package-lock.json`);
    if (resolved && !/^https:\/\//.test(resolved)) problems.push(`${named}: does not come from a registry over https`);
  }
}
const shipped = shippedPackages();
for (const { name, version, license } of shipped) {
  if (isAllowedExpression(license ?? '', policy.allowedLicences) || isExcepted(name)) continue;
  problems.push(
    `${name}@${version}: its licence is ${license ?? 'not given'}; allow it, or except the package with a reason`,
  );
}
for (const problem of problems) console.error(problem);
console.log(`${shipped.length} outside packages, ${problems.length} problem(s)`);
process.exit(problems.length === 0 ? 0 : 1);

/** True if an exception names the package; a pattern ends with a star. */
function isExcepted(name) {
  const patterns = Object.keys(policy.licenceExceptions);
  return patterns.some((pattern) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}
