import { expect, it } from 'vitest';
import { parseQuickstartArguments } from './quickstart-options.js';

it('reads all options, and has defaults', () => {
  expect(parseQuickstartArguments([])).toMatchObject({
    once: false,
    dataFile: undefined,
    users: 100,
    positions: 1_000,
  });
  const replay = ['--once', '--data', 'log.csv', '--columns', 'user_id=uid,watch_ratio=wr', '--bundle', 'b'];
  expect(parseQuickstartArguments(replay)).toMatchObject({
    once: true,
    dataFile: 'log.csv',
    bundleDir: 'b',
    columns: { user_id: 'uid', watch_ratio: 'wr' },
  });
});

it.each([
  [['--columns', 'user_id=uid'], /--columns: has no meaning without --data; give --data FILE/],
  [['--data', 'a', '--data', 'b'], /--data: is given twice; join the files into one/],
  [['--users', '1', '--users', '2'], /--users: is given twice; leave one out/],
  [['--data', 'a', '--users', '5'], /--users: has no meaning with --data/],
  [['--data', 'a', '--positions', '5'], /--positions: has no meaning with --data/],
  [['--data', 'a', '--columns', 'user_id'], /--columns: "user_id" has not the form A=B/],
  [['--data', 'a', '--columns', 'user_id=a=b'], /--columns: "user_id=a=b" has not the form/],
  [['--data', 'a', '--columns', 'user_id=a,user_id=b'], /--columns: user_id is given twice/],
  [['--users', '1e3'], /--users: "1e3" is not a whole number from 1 to 100000/],
  [['--users', '0x10'], /--users: "0x10" is not a whole number/],
  [['--users', '0'], /--users: "0" is not a whole number/],
  [['--users', '1,000'], /--users: "1,000" is not a whole number/],
  [['--data', 'a', 'b'], /Unexpected argument 'b'/],
])('refuses %s', (args, message) => expect(() => parseQuickstartArguments(args)).toThrow(message));
