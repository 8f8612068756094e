// Stryker plugin: the vitest runner, with changes. Stryker's own runner counts failed tests only: it takes a mutant
// for unnoticed if a test file cannot load, or if a `beforeAll` fails. Here such a file counts as a failed test. Slow
// test files are left out, and failed properties are not shrunk.
import { fileURLToPath } from 'node:url';
import { declareFactoryPlugin, PluginKind } from '@stryker-mutator/api/plugin';
import { DryRunStatus, TestStatus } from '@stryker-mutator/api/test-runner';
import { strykerPlugins as vitestPlugins } from '@stryker-mutator/vitest-runner';

export { strykerValidationSchema } from '@stryker-mutator/vitest-runner';

/** Runs the suites of other test files once more, on a cluster that takes seconds to start. */
const LEFT_OUT = '**/redis-deployments.test.ts';

const FAST_CHECK_SETUP = fileURLToPath(new URL('fast-check-setup.mjs', import.meta.url));

const [{ factory }] = vitestPlugins;

function createRunner(injector) {
  const runner = factory(injector);
  const init = runner.init.bind(runner);
  runner.init = async () => {
    await init();
    for (const { config } of runner.ctx.projects) {
      config.exclude.push(LEFT_OUT);
      config.setupFiles.push(FAST_CHECK_SETUP);
    }
  };
  const runTests = runner.run.bind(runner);
  runner.run = async (options) => {
    const result = await runTests(options);
    if (result.status !== DryRunStatus.Complete) return result;
    if (result.tests.some(({ status }) => status === TestStatus.Failed)) return result;
    const failedFile = runner.ctx.state.getFiles().find((file) => file.result?.state === 'fail');
    if (!failedFile) return result;
    const failure = {
      id: `${failedFile.name}#`,
      name: failedFile.name,
      fileName: failedFile.filepath,
      timeSpentMs: 0,
      status: TestStatus.Failed,
      failureMessage: failedFile.result?.errors?.[0]?.message ?? 'the test file failed',
    };
    return { ...result, tests: [...result.tests, failure] };
  };
  return runner;
}
createRunner.inject = factory.inject;

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'vitest-files', createRunner)];
