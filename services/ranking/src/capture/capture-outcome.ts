/**
 * What became of the capture of a request:
 * - `none`: the request asked for none.
 * - `taken`: it is written after the answer.
 * - `off`: the service keeps no captures.
 * - `full`: the folder is at its bound.
 * - `busy`: too many captures wait to be written.
 * - `id_used`: the folder has a capture of this id.
 * - `erased`: the user was erased during the request.
 */
export type CaptureOutcome = 'none' | 'taken' | 'off' | 'full' | 'busy' | 'id_used' | 'erased';
