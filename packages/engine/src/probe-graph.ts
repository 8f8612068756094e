/** A graph that adds a number to itself, in ONNX format: IR 8, opset 13. */
export const PROBE_GRAPH = Buffer.from(
  'CAgSADo1Cg4KAXgKAXgSAXkiA0FkZBIBcFoPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0=',
  'base64',
);
