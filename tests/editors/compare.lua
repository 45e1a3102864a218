-- Sorts entries of the shapes that nvim-cmp and blink.cmp pass, as they do, and prints the orders as JSON.
vim.opt.runtimepath:append(vim.env.STARLING_RUNTIME)
local out = {}

local function sorted(list, comparators, label)
  list = vim.list_slice(list)
  table.sort(list, function(a, b)
    for _, compare in ipairs(comparators) do
      local says = compare(a, b)
      if says ~= nil then
        return says
      end
    end
    return false
  end)
  return vim.tbl_map(label, list)
end

--- A comparator as the plugins have them: the higher number first, no say where both are the same.
local function by(field)
  return function(a, b)
    if a[field] ~= b[field] then
      return a[field] > b[field]
    end
  end
end

local by_score, by_recent = by('score'), by('recent')

-- nvim-cmp: an entry's source holds the source of cmp-nvim-lsp, which holds the client.
local function entry(label, score, client, order, recent)
  return {
    score = score,
    recent = recent or 0,
    completion_item = { label = label, sortText = order },
    source = { name = client and 'nvim_lsp' or 'buffer', source = client and { client = { name = client } } or {} },
  }
end

local function label_of(e)
  return e.completion_item.label
end

local ours = require('starling.cmp').compare
local entries = {
  entry('third', 10, 'starling', '00002', 9),
  entry('word', 10, nil, nil, 5),
  entry('first', 10, 'starling', '00000', 1),
  entry('other', 10, 'another', '00001', 7),
  entry('better match', 12, 'starling', '00003', 0),
  entry('second', 10, 'starling', '00001', 3),
}
out.cmp = sorted(entries, { by_score, ours, by_recent }, label_of)
out.cmp_reversed = sorted(vim.fn.reverse(vim.list_slice(entries)), { by_score, ours, by_recent }, label_of)
out.cmp_others = { ours(entries[2], entries[4]) == nil, ours(entries[4], entries[2]) == nil }

-- comparators(): beside nvim-cmp's own list, with its functions stood in for.
local stand_in = { offset = function() end, score = by_score, recently_used = by_recent }
package.preload['cmp.config.compare'] = function()
  return stand_in
end
local given = { stand_in.offset, stand_in.score, stand_in.recently_used }
local with = require('starling.cmp').comparators(given)
out.comparators = { #given, #with, with[2] == stand_in.score, with[3] == ours, with[4] == stand_in.recently_used }

-- blink.cmp: an item carries its client's name.
local function item(label, score, client, order)
  return { label = label, score = score, client_name = client, sortText = order }
end
local items = {
  item('third', 10, 'starling', '00002'),
  item('word', 10, nil, nil),
  item('first', 10, 'starling', '00000'),
  item('other', 10, 'another', '0'),
  item('better match', 12, 'starling', '00003'),
  item('second', 10, 'starling', '00001'),
}
local blink = require('starling.blink')
local named = {
  score = by_score,
  sort_text = function(a, b)
    if a.sortText and b.sortText and a.sortText ~= b.sortText then
      return a.sortText < b.sortText
    end
  end,
}
local functions = vim.tbl_map(function(sort)
  return type(sort) == 'string' and named[sort] or sort
end, blink.sorts)
local function blink_label(i)
  return i.label
end
out.blink = sorted(items, functions, blink_label)
out.blink_reversed = sorted(vim.fn.reverse(vim.list_slice(items)), functions, blink_label)
out.blink_fuzzy = { blink.fuzzy.use_proximity, blink.fuzzy.frecency.enabled, blink.fuzzy.sorts == blink.sorts }

io.stdout:write(vim.json.encode(out))
vim.cmd('qall!')
