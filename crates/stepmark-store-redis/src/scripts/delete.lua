-- Deletes a thread with all its rows; its uid stays as a tombstone, but that of one that was still being restored.
--
-- KEYS: rows, order, gone. The answer: the thread's row, 1 if it was deleted before, 0 if there never was one.

local restored = redis.call('HGET', KEYS[1], 't')
if restored then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    return restored
end
local thread = redis.call('HGET', KEYS[1], 'T')
if not thread then
    return redis.call('GET', KEYS[3]) == 'deleted' and 1 or 0
end
redis.call('SET', KEYS[3], 'deleted')
redis.call('UNLINK', KEYS[1], KEYS[2])
return thread
