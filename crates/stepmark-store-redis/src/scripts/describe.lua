-- Replaces what is said of a thread, if that is still what was read.
--
-- KEYS: rows. ARGV: what was read ('' for nothing), what is said now. The answer: 1 if it is.

if redis.call('HEXISTS', KEYS[1], 'T') == 0 or (redis.call('HGET', KEYS[1], 'S') or '') ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'S', ARGV[2])
if type(redis.pcall('HINCRBY', KEYS[1], 'W', 1)) ~= 'number' then
    redis.call('HSET', KEYS[1], 'W', 1)
end
return 1
