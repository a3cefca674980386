-- Keeps the bytes of a blob; of bytes that are there the time of last use moves on.
--
-- KEYS: blob (hash). ARGV: 'put' and the bytes, or 'use' and the uid of the thread that will name it. The answer: 1 if it is
-- there now.

if ARGV[1] == 'put' then
    redis.call('HSETNX', KEYS[1], 'body', ARGV[2])
elseif redis.call('HEXISTS', KEYS[1], 'body') == 0 then
    return 0
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'touched', string.format('%.0f', now[1] * 1000000 + now[2]))
if ARGV[1] == 'use' then
    redis.call('HSET', KEYS[1], 'by' .. ARGV[2], '')
end
return 1
