-- Says when a thread may go, or that it never does by itself. It stays until somebody sweeps: a life that it had ends nothing.
--
-- KEYS: rows, order. ARGV: microseconds, or nothing for never. The answer: 1 if the thread is there.

if redis.call('HEXISTS', KEYS[1], 'T') == 0 then
    return 0
end
redis.call('HDEL', KEYS[1], 'x')
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
if ARGV[1] then
    redis.call('HSET', KEYS[1], 'X', ARGV[1])
else
    redis.call('HDEL', KEYS[1], 'X')
end
return 1
