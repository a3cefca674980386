-- Writes one unit of one thread, if everything that it expects holds; else it changes nothing.
--
-- KEYS: rows (hash), order (sorted set), gone. ARGV: how many expectations, these, then what is written; the first word of
-- each says what:
--   absent FIELD · there FIELD · equal FIELD ROW · kept FIELD ROW (absent or equal) · like FIELD ROW (the same, with an
--   arrival behind it) · begins FIELD BYTES · packs FIELD ORDINAL (a packed part has this value)
--   count FROM TO NUMBER (so many members of the order) · turn NUMBER (no thread here, none deleted, no later turn)
--   row FIELD ROW · new FIELD ROW (one that is there stays) · drop FIELD
--   member MEMBER · leave MEMBER · more FIELD (a counter) · raise FIELD NUMBER (a counter, at least to it) · upkeep
--   checkpoint FIELD ROW (gets the next arrival) · branch NAMESPACE ID · run ID, before its row (get the next number)
-- Before the first checkpoint of each minute it is noted in the order which arrival comes next, and when.
-- The answer: 1 if it was written. The life of a thread that expires begins anew, but not by upkeep.

local rows, order, gone = KEYS[1], KEYS[2], KEYS[3]
local at = 1
local function take()
    local word = ARGV[at]
    at = at + 1
    return word
end

-- Whether a packed part has a value. It ends in its hash.
local function packs(packed, wanted)
    local from, ordinal, length = 1, nil, nil
    while from <= #packed - 16 do
        ordinal, from = varint(packed, from)
        if ordinal == wanted then
            return true
        end
        for _ = 1, 2 do
            length, from = varint(packed, from)
            from = from + length
        end
    end
    return false
end

-- Notes which arrival comes next, unless that was noted within a minute.
local function mark(arrival)
    local time, last = redis.call('TIME'), tonumber(redis.call('HGET', rows, 'a') or 0)
    local now = time[1] * 1000000 + time[2]
    if not last or now >= last + 60000000 or now < last then
        redis.call('HSET', rows, 'a', string.format('%.0f', now))
        -- Twice, so that damage is seen: it would let go of what is young.
        redis.call('ZADD', order, 0, 'a' .. (arrival .. bits(now)):rep(2))
    end
end

local function holds(what)
    if what == 'turn' then
        local turn, state = tonumber(take()), redis.call('GET', gone)
        local is_free = not state or (state ~= 'deleted' and tonumber(state) < turn)
        return is_free and redis.call('HEXISTS', rows, 'T') == 0 and redis.call('HEXISTS', rows, 't') == 0
    elseif what == 'count' then
        local from, to = take(), take()
        return redis.call('ZLEXCOUNT', order, from, to) == tonumber(take())
    elseif what == 'absent' then
        return redis.call('HEXISTS', rows, take()) == 0
    elseif what == 'there' then
        return redis.call('HEXISTS', rows, take()) == 1
    end
    local stored, expected = redis.call('HGET', rows, take()), take()
    if what == 'equal' then
        return stored == expected
    elseif what == 'kept' then
        return not stored or stored == expected
    elseif what == 'packs' then
        local is_read, has = pcall(packs, stored or '', tonumber(expected))
        return is_read and has
    elseif what == 'like' then
        return not stored or (#stored == #expected + 8 and stored:sub(1, #expected) == expected)
    end
    return stored and stored:sub(1, #expected) == expected
end

for _ = 1, tonumber(take()) do
    if not holds(take()) then
        return 0
    end
end

-- A counter that is damaged begins anew.
if type(redis.pcall('HINCRBY', rows, 'W', 1)) ~= 'number' then
    redis.call('HSET', rows, 'W', 1)
end

local is_upkeep = false

local function write(what)
    if what == 'row' then
        redis.call('HSET', rows, take(), take())
    elseif what == 'new' then
        redis.call('HSETNX', rows, take(), take())
    elseif what == 'drop' then
        redis.call('HDEL', rows, take())
    elseif what == 'member' then
        redis.call('ZADD', order, 0, take())
    elseif what == 'upkeep' then
        is_upkeep = true
    elseif what == 'leave' then
        redis.call('ZREM', order, take())
    elseif what == 'more' then
        redis.call('HINCRBY', rows, take(), 1)
    elseif what == 'checkpoint' then
        local field, row = take(), take()
        if redis.call('HEXISTS', rows, field) == 0 then
            local arrival = bits(redis.call('HINCRBY', rows, 'n', 1))
            mark(arrival)
            redis.call('HSET', rows, field, row .. arrival)
            redis.call('ZADD', order, 0, 'C' .. field:sub(2, -17) .. arrival .. field:sub(-16))
        end
    elseif what == 'run' then
        local id = take()
        if redis.call('HEXISTS', rows, 'R' .. id) == 0 then
            redis.call('ZADD', order, 0, 'R' .. bits(redis.call('HINCRBY', rows, 'q', 1)) .. id)
        end
    elseif what == 'raise' then
        local field, least = take(), take()
        if tonumber(redis.call('HGET', rows, field) or 0) < tonumber(least) then
            redis.call('HSET', rows, field, least)
        end
    else
        local namespace, id = take(), take()
        local number = bits(redis.call('HINCRBY', rows, 'm' .. namespace, 1))
        redis.call('HSET', rows, 'b' .. namespace .. id, number)
        redis.call('ZADD', order, 0, 'b' .. namespace .. number .. id)
    end
end

while at <= #ARGV do
    write(take())
end

local life = redis.call('HGET', rows, 'x')
if life and not is_upkeep then
    local now = redis.call('TIME')
    local ends = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(life))
    redis.call('PEXPIREAT', rows, ends)
    redis.call('PEXPIREAT', order, ends)
end
return 1
