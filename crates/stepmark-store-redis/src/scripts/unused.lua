-- When a blob was last used, how long it is, and which threads may name it.
--
-- KEYS: blob (hash). The answer: touched, length, then fields; nothing if there is no blob.

local touched = redis.call('HGET', KEYS[1], 'touched')
if not touched then
    return {}
end
local found = { touched, redis.call('HSTRLEN', KEYS[1], 'body') }
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:sub(1, 2) == 'by' then
        found[#found + 1] = field:sub(3)
    end
end
return found
