export * from './fetch-packages.js';
export * from './unpacked-programs.js';
