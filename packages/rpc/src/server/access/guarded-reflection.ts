import type { handleBidiStreamingCall, Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { statusOf } from '../../errors/grpc-errors.js';
import { packageDefinition } from '../../wire/services.js';
import type { CallerAccess } from './caller-access.js';

/** Adds the reflection service. It tells the whole interface, so a caller needs a token if others do, of any role. */
export function addGuardedReflection(server: Server, access: Pick<CallerAccess, 'refusal'>): void {
  const guarded: Pick<Server, 'addService'> = {
    addService(definition, implementation) {
      const methods = Object.entries(implementation).map(([method, handler]) => {
        const answer = handler as handleBidiStreamingCall<unknown, unknown>;
        const guard: typeof answer = (call) => {
          const refused = access.refusal('reflection', call.metadata);
          if (refused) call.emit('error', statusOf(refused));
          else answer(call);
        };
        return [method, guard] as const;
      });
      server.addService(definition, Object.fromEntries(methods));
    },
  };
  new ReflectionService(packageDefinition).addToServer(guarded);
}
