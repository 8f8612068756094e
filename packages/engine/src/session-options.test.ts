import { describe, expect, it } from 'vitest';
import { sessionOptions } from './session-options.js';

const optionsOf = (provider: 'cpu' | 'cuda' | 'webgpu', deviceIndex = 0) =>
  sessionOptions({ provider, deviceIndex, threadsPerWorker: 3 });

describe('session options', () => {
  it('run on the CPU alone', () => {
    expect(optionsOf('cpu')).toMatchObject({ executionProviders: ['cpu'], intraOpNumThreads: 3 });
  });

  it('name the device of cuda, with the CPU for what it lacks', () => {
    expect(optionsOf('cuda', 2).executionProviders).toEqual([{ name: 'cuda', deviceId: 2 }, 'cpu']);
  });

  it('give webgpu no option: it refuses those that it does not know', () => {
    expect(optionsOf('webgpu').executionProviders).toEqual(['webgpu', 'cpu']);
  });

  it('keep weights out of the arena on cuda only', () => {
    const session = (provider: 'cpu' | 'cuda' | 'webgpu') => optionsOf(provider).extra?.session;
    expect(session('cuda')).toMatchObject({ use_device_allocator_for_initializers: '1' });
    expect(session('cpu')).not.toHaveProperty('use_device_allocator_for_initializers');
    expect(session('webgpu')).not.toHaveProperty('use_device_allocator_for_initializers');
  });
});
