/** Weight of the latest run. So an unusual one is forgotten within a few dozen runs. */
const WEIGHT = 0.1;

/** The times of runs by their cells, learnt from the latest runs. */
export interface RunTimes {
  /** Learns from a run that ended. */
  add(cellCount: number, ms: number): void;
  /** Returns the time that a run of so many cells is expected to take, ms; 0 before the first run. */
  expectedMs(cellCount: number): number;
}

/**
 * Creates the times of runs: a fixed time and one for each cell. They are a linear regression over all runs whose
 * weights fall exponentially. Without differing runs, all time counts as that of cells.
 */
export function createRunTimes(): RunTimes {
  let meanCells = 0;
  let meanMs = 0;
  let variance = 0; // of the cells
  let covariance = 0; // of cells and time
  let isEmpty = true;
  return {
    add(cellCount, ms) {
      const weight = isEmpty ? 1 : WEIGHT;
      isEmpty = false;
      const [cellsOff, msOff] = [cellCount - meanCells, ms - meanMs];
      meanCells += weight * cellsOff;
      meanMs += weight * msOff;
      variance = (1 - weight) * (variance + weight * cellsOff ** 2);
      covariance = (1 - weight) * (covariance + weight * cellsOff * msOff);
    },
    expectedMs(cellCount) {
      if (isEmpty) return 0;
      const mostMsPerCell = meanMs / meanCells; // else few cells would take less than no time
      const msPerCell = variance === 0 ? mostMsPerCell : Math.max(0, Math.min(mostMsPerCell, covariance / variance));
      return meanMs + msPerCell * (cellCount - meanCells);
    },
  };
}
