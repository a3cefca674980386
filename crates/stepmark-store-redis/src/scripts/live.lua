-- Sets or takes away the life of a thread, of all its keys together; it is what says when the thread goes.
--
-- KEYS: rows, order. ARGV: milliseconds, or nothing for a life without end. The answer: 1 if the thread is there.

if redis.call('HEXISTS', KEYS[1], 'T') == 0 then
    return 0
end
redis.call('HDEL', KEYS[1], 'X')
if ARGV[1] then
    redis.call('HSET', KEYS[1], 'x', ARGV[1])
    local now = redis.call('TIME')
    local ends = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[1]))
    redis.call('PEXPIREAT', KEYS[1], ends)
    redis.call('PEXPIREAT', KEYS[2], ends)
else
    redis.call('HDEL', KEYS[1], 'x')
    redis.call('PERSIST', KEYS[1])
    redis.call('PERSIST', KEYS[2])
end
return 1
