-- Deletes a thread with all its rows; its uid stays as a tombstone, but that of one that was still being restored.
--
-- KEYS: rows, order, gone. ARGV: 'expired': only if it may go by now; how often it was written: only if it is still so.
-- Both may be left out, the first one also by nothing in its place. The answer: the thread's row, 1 if it was deleted before,
-- 0 if there never was one, -1 if it stays.

local restored = redis.call('HGET', KEYS[1], 't')
if restored then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    return restored
end
local thread = redis.call('HGET', KEYS[1], 'T')
if not thread then
    return redis.call('GET', KEYS[3]) == 'deleted' and 1 or 0
end
if ARGV[1] == 'expired' then
    local now, ends = redis.call('TIME'), tonumber(redis.call('HGET', KEYS[1], 'X') or '')
    if not ends or ends > now[1] * 1000000 + now[2] then
        return -1
    end
end
if ARGV[2] and (redis.call('HGET', KEYS[1], 'W') or '') ~= ARGV[2] then
    return -1
end
redis.call('SET', KEYS[3], 'deleted')
redis.call('UNLINK', KEYS[1], KEYS[2])
return thread
