import type fc from 'fast-check';

/** What became of one input: it was refused with a documented reason, or taken as valid. */
export type Verdict = 'refused' | 'accepted';

/** A kind of input from outside, and the code that takes it. */
export interface Surface<Input = unknown> {
  readonly name: string;
  /** Malformed inputs. A few of them may be valid by chance. */
  readonly inputs: fc.Arbitrary<Input>;
  /** Inputs that showed a fault once. Every run begins with them. */
  readonly found?: readonly Input[];
  /** Sends one input. Throws if the surface does anything but refuse it with a documented reason, or take it. */
  judge(input: Input): Promise<Verdict>;
  /** Sends a valid input. Throws if the answer is not exactly the right one. */
  stillRight(): Promise<void>;
  close?(): Promise<void>;
}

/** The result of an attack on one surface. */
export interface SurfaceResult {
  readonly surface: string;
  readonly inputs: number;
  readonly refused: number;
  readonly accepted: number;
  /** Valid inputs between the malformed ones. All of them got the right answer, unless there is a fault. */
  readonly validChecks: number;
  /** What went wrong, with the smallest input that shows it. Undefined if nothing did. */
  readonly fault?: string;
}
