-- Keeps the bytes of a blob; of bytes that are there the time of last use moves on.
--
-- KEYS: blob (hash). ARGV: the bytes, or nothing to touch it only. The answer: 1 if it is there now.

if ARGV[1] then
    redis.call('HSETNX', KEYS[1], 'body', ARGV[1])
elseif redis.call('HEXISTS', KEYS[1], 'body') == 0 then
    return 0
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'touched', string.format('%.0f', now[1] * 1000000 + now[2]))
return 1
