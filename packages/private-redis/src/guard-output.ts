/** What a guard and its server have printed. */
export interface GuardOutput {
  /** Resolves when the guard has printed the process id of the server. */
  readonly serverPid: Promise<number>;
  /** The last 4,000 characters. */
  readonly end: string;
  add(chunk: Buffer): void;
}

/** Collects the output, in chunks that may begin and end anywhere. */
export function createGuardOutput(): GuardOutput {
  let end = '';
  let reportPid: (pid: number) => void = () => undefined;
  const serverPid = new Promise<number>((resolve) => {
    reportPid = resolve;
  });
  return {
    serverPid,
    get end() {
      return end;
    },
    add(chunk) {
      end += chunk;
      const [, pid] = /^guard: pid (\d+)\n/m.exec(end) ?? [];
      if (pid) reportPid(Number(pid));
      end = end.slice(-4_000); // a busy process reads much at once: look for the pid in all of it
    },
  };
}
