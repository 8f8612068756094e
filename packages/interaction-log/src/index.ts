export * from './interaction-log.js';
export { type ColumnMap, LOG_COLUMNS } from './log-columns.js';
export { LogError } from './log-error.js';
