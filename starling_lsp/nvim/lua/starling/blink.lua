-- blink.cmp: Starling's order among items that match what is typed equally well.
--
--   fuzzy = require('starling.blink').fuzzy
--
-- blink.cmp's default, { 'score', 'sort_text' }, already comes to Starling's order with nothing typed. With letters it adds points
-- for nearby words and for what was used before, which Starling has counted already; here they are off.
local M = {}

local NAME = 'starling'

--- A sort function: true where the first item comes first, false where the second does, nil where it has no say.
function M.compare(first, second)
  local ours, theirs = first.client_name == NAME, second.client_name == NAME
  if ours ~= theirs then
    return ours -- with no say here, what follows could put three items in a ring, which table.sort refuses
  end
  if ours and first.sortText and second.sortText and first.sortText ~= second.sortText then
    return first.sortText < second.sortText
  end
  return nil
end

M.sorts = { 'score', M.compare, 'sort_text' }

M.fuzzy = { sorts = M.sorts, use_proximity = false, frecency = { enabled = false } }

return M
