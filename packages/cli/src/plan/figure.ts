/**
 * Where a figure comes from:
 * - `given`: an option of the command.
 * - `assumed`: the default of an option, or a constant of the planner.
 * - `computed`: from other figures, by the layout of records and the structures of Redis.
 * - `measured`: by a calibration, on the machine that `basis` names.
 */
export type FigureSource = 'given' | 'assumed' | 'computed' | 'measured';

/** Units of figures. A count has none. */
export type Unit = 'count' | 'bytes' | 'bytes/s' | '/s' | 's' | 'ms' | 'cores' | 'share' | 'times';

/** One figure of a plan. */
export interface Figure {
  /** Names the figure in JSON: `records.redisBytes`. */
  readonly id: string;
  readonly label: string;
  readonly value: number;
  readonly unit: Unit;
  readonly source: FigureSource;
  /** How the figure came about, in words. */
  readonly basis: string;
}

/** Figures under one heading. */
export interface Section {
  readonly title: string;
  readonly figures: readonly Figure[];
}

/** A plan of a deployment. */
export interface Plan {
  readonly sections: readonly Section[];
  /** What the plan cannot meet, and the remedy of each. */
  readonly warnings: readonly string[];
}

/** Collects the figures of a section. */
export function createSection(title: string, idPrefix: string) {
  const figures: Figure[] = [];
  function adder(source: FigureSource) {
    return (id: string, label: string, value: number, unit: Unit, basis: string): number => {
      figures.push({ id: `${idPrefix}.${id}`, label, value, unit, source, basis });
      return value;
    };
  }
  return {
    section: { title, figures } as Section,
    computed: adder('computed'),
    assumed: adder('assumed'),
    measured: adder('measured'),
    given: adder('given'),
  };
}
