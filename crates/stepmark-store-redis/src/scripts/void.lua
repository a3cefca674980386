-- Makes sure that no thread is made any more by who reserved a name at this turn or before.
--
-- KEYS: rows, gone. ARGV: turn, and how long that is remembered, in milliseconds. The answer: 'there' if the thread is there, or is being restored,
-- 'deleted' if its uid is a tombstone, else 'void'.

if redis.call('HEXISTS', KEYS[1], 'T') == 1 or redis.call('HEXISTS', KEYS[1], 't') == 1 then
    return 'there'
end
local state = redis.call('GET', KEYS[2])
if state == 'deleted' then
    return 'deleted'
end
if not state or tonumber(state) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
return 'void'
