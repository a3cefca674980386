-- Takes a name back from a thread that is gone, if it still holds it.
--
-- KEYS: names (hash), listing (sorted set). ARGV: name, and what holds it or the uid that does.

local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and (held == ARGV[2] or held:sub(1, 16) == ARGV[2]) then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
end
return 1
