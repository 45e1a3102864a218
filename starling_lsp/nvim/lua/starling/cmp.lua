-- nvim-cmp: Starling's order among entries that match what is typed equally well.
--
--   sorting = { comparators = require('starling.cmp').comparators() }
--
-- Without it nvim-cmp asks after `score` what was used recently, what stands near the cursor and what kind an item is, and
-- Starling's order (sortText) only then.
local M = {}

local NAME = 'starling'

local function is_starlings(entry)
  local source = entry.source and entry.source.source
  return source ~= nil and source.client ~= nil and source.client.name == NAME
end

--- A comparator: true where the first entry comes first, false where the second does, nil where it has no say.
function M.compare(first, second)
  local ours, theirs = is_starlings(first), is_starlings(second)
  if ours ~= theirs then
    return ours -- with no say here, later comparators could put three entries in a ring, which table.sort refuses
  end
  if not ours then
    return nil
  end
  local a, b = first.completion_item.sortText, second.completion_item.sortText
  if a and b and a ~= b then
    return a < b
  end
  return nil
end

--- nvim-cmp's own comparators (or those given) with Starling's right after `score`, or in front where there is no `score`.
function M.comparators(given)
  local compare = require('cmp.config.compare')
  local all = vim.list_slice(given or require('cmp.config.default')().sorting.comparators)
  local place = 1
  for index, comparator in ipairs(all) do
    if comparator == compare.score then
      place = index + 1
    end
  end
  table.insert(all, place, M.compare)
  return all
end

return M
