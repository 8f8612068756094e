import { env } from 'onnxruntime-node';

/** Returns the version of the onnxruntime that runs the graphs. */
export function runtimeVersion(): string {
  return env.versions.node ?? env.versions.common;
}
