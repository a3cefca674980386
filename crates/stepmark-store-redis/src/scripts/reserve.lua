-- Reserves a name of a scope for a thread, in place of what is known to hold it for nobody.
--
-- KEYS: names (hash), listing (sorted set), turns (counter). ARGV: name, uid, what may be replaced ('' for nothing). The
-- answer: what holds the name now, a uid of 16 bytes and the turn at which it was reserved.

local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and held ~= ARGV[3] then
    return held
end
local own = ARGV[2] .. redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], own)
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return own
