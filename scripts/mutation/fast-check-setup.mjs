// Setup file of mutation runs: a failed property ends at once. Looking for a smaller failing input takes long, and only
// the failure counts here.
import fc from 'fast-check';

fc.configureGlobal({ endOnFailure: true });
