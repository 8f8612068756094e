// What other programs use to replay captures: `ckv replay`.
export { type Capture, type CaptureEnvironment, readCapture } from './capture/capture.js';
export { openCapture } from './capture/capture-file.js';
export { captureKeysIn } from './capture/capture-keys.js';
export { environmentOf } from './capture/open-captures.js';
export { type Replayed, replayCapture, replayNeeds } from './capture/replay.js';
