-- One page of a scope's names, with what holds them.
--
-- KEYS: names (hash), listing (sorted set). ARGV: after which name, how many.

local found = redis.call('ZRANGEBYLEX', KEYS[2], '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local page = {}
for _, name in ipairs(found) do
    page[#page + 1] = name
    page[#page + 1] = redis.call('HGET', KEYS[1], name)
end
return page
