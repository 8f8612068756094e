// Judges licence expressions of SPDX, such as `MIT AND (Apache-2.0 OR GPL-2.0-only)`. AND binds more closely than OR.

const LICENCE = /^(?!(AND|OR|WITH)$)[\w.:+-]+$/;

/** True if the expression can be met by allowed licences alone. False if it cannot be read. */
export function isAllowedExpression(expression, allowed) {
  const words = expression.match(/[()]|[^\s()]+/g) ?? [];
  try {
    const met = choiceOf(words, allowed);
    return met && words.length === 0;
  } catch {
    return false;
  }
}

/** Takes `one OR other` from the words, and returns whether an allowed licence is among them. */
function choiceOf(words, allowed) {
  let met = unionOf(words, allowed);
  while (isNext(words, 'OR')) met = unionOf(words, allowed) || met;
  return met;
}

/** Takes `one AND other` from the words, and returns whether all are allowed. */
function unionOf(words, allowed) {
  let met = termOf(words, allowed);
  while (isNext(words, 'AND')) met = termOf(words, allowed) && met;
  return met;
}

function termOf(words, allowed) {
  if (isNext(words, '(')) {
    const met = choiceOf(words, allowed);
    if (!isNext(words, ')')) throw new Error('a parenthesis is open');
    return met;
  }
  const licence = nameFrom(words);
  return allowed.includes(isNext(words, 'WITH') ? `${licence} WITH ${nameFrom(words)}` : licence);
}

/** Takes the next word if it is this one. */
function isNext(words, word) {
  if (words[0] !== word) return false;
  words.shift();
  return true;
}

function nameFrom(words) {
  const word = words.shift() ?? '';
  if (!LICENCE.test(word)) throw new Error(`"${word}" is no licence`);
  return word;
}
