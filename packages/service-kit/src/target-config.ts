import { targetProblem } from '@collectivekv/rpc';
import { z } from 'zod';

/** Returns the schema of the gRPC target of another service. */
export function targetConfig({ port, means }: { readonly port: number; readonly means: string }) {
  return z
    .string()
    .superRefine((target, context) => {
      const found = targetProblem(target);
      if (found) context.addIssue({ code: 'custom', message: `${found.problem}; ${found.remedy}` });
    })
    .default(`127.0.0.1:${port}`)
    .describe(means);
}
