// How VS Code scores names against what was typed, with its own matcher: the npm package @vtsls/vscode-fuzzy, whose folder is
// the first argument. Reads a JSON array of [typed, [name, …]] and writes an array of arrays of scores, null for no match.
// As src/vs/editor/contrib/suggest/browser/completionModel.ts does: graceful up to 2,000 items, and nothing without letters.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'

const fuzzy = createRequire(import.meta.url)(process.argv[2])
const GRACEFUL = 2000
const options = fuzzy.FuzzyScoreOptions?.default

const scored = JSON.parse(readFileSync(0, 'utf8')).map(([typed, names]) => {
  const score = names.length > GRACEFUL ? fuzzy.fuzzyScore : fuzzy.fuzzyScoreGracefulAggressive
  return names.map(name => {
    if (!typed) return 0
    const found = score(typed, typed.toLowerCase(), 0, name, name.toLowerCase(), 0, options)
    return found ? found[0] : null
  })
})
process.stdout.write(JSON.stringify(scored))
