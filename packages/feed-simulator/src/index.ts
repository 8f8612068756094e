export { createFeedSimulator, type FeedSimulator, type FeedSimulatorOptions } from './feed-simulator.js';
export type { Interest } from './interests.js';
export { formatExposure, LOG_HEADER, type LogPlan, simulateLog } from './log-csv.js';
export type { Action } from './reaction.js';
export type { Exposure, SimulatedCandidate, SimulatedUser } from './simulated-user.js';
