-- Reads rows of one thread, all of one moment, and changes nothing.
--
-- KEYS: rows (hash), order (sorted set), gone. ARGV: what is asked for, one after another; the first word of each says what:
--   row     FIELD                                the row
--   range   FROM TO LIMIT REVERSED PREFIX SKIP   members of the order; SKIP: -1 no rows, else those of PREFIX and what the
--                                                member has behind SKIP bytes
--   last                                         the run that began last
--   id      NAMESPACE ID PACKED                  the checkpoint with this id
--   line    NAMESPACE BRANCH                     a branch and all that it was forked from, with their numbers
--   chain   NAMESPACE BRANCH HEIGHT PLACE        a value and all that it follows from
--   place   NAMESPACE KIND A B VALUES PENDING    what a load of this place will need
-- The answer: gone, then names and rows by turns, then ranges with their members.
-- What is fetched because bytes were read here is a guess: the program reads the same bytes itself, verifies them, and asks
-- again for what it misses. So nothing here needs to be right about damaged rows, but quick.

local rows, order, gone = KEYS[1], KEYS[2], KEYS[3]
local fields, values, seen, ranges = {}, {}, {}, {}
-- What is passed over; a script may have no globals.
local _

local function row(field)
    local known = seen[field]
    if known then
        return values[known]
    end
    local value = redis.call('HGET', rows, field)
    fields[#fields + 1] = field
    values[#values + 1] = value
    seen[field] = #values
    return value
end

-- A branch in a field, of what heads write.
local function branch_bits(bytes)
    local turned = bytes:reverse()
    return string.char((turned:byte(1) + 128) % 256) .. turned:sub(2)
end

local function range(from, to, limit, reversed)
    local found
    if reversed == '1' then
        found = redis.call('ZREVRANGEBYLEX', order, to, from, 'LIMIT', 0, limit)
    else
        found = redis.call('ZRANGEBYLEX', order, from, to, 'LIMIT', 0, limit)
    end
    ranges[#ranges + 1] = { from, to, limit, reversed, found }
    return found
end

-- The bounds of what begins with these bytes.
local function bounds(prefix)
    local last = #prefix
    while last > 0 and prefix:byte(last) == 255 do
        last = last - 1
    end
    return '[' .. prefix, '(' .. prefix:sub(1, last - 1) .. string.char(prefix:byte(last) + 1)
end

local function starting(prefix, limit, reversed)
    local from, to = bounds(prefix)
    return range(from, to, limit, reversed)
end

-- A text or bytes with their length before them.
local function slice(bytes, at)
    local length
    length, at = varint(bytes, at)
    return bytes:sub(at, at + length - 1), at + length
end

-- Branch, height and place of a value, as heads write it.
local function address(bytes, at)
    local branch, height, place = branch_bits(bytes:sub(at, at + 7)), nil, nil
    height, at = varint(bytes, at + 8)
    place, at = varint(bytes, at)
    return branch, height, place, at
end

local packs = {}

-- The heads of packed values, by ordinal.
local function pack(field)
    if packs[field] then
        return packs[field]
    end
    local heads, packed, at = {}, row(field) or '', 1
    packs[field] = heads
    while at <= #packed - 16 do
        local ordinal
        ordinal, at = varint(packed, at)
        heads[ordinal], at = slice(packed, at)
        _, at = slice(packed, at)
    end
    return heads
end

local walked = {}

-- A value and all that it follows from, by heads alone.
local function chain(namespace, branch, height, place)
    while true do
        local ordinal, packed = math.floor(place / 2), place % 2 == 1
        local key = namespace .. branch .. bits(height)
        local name = key .. bits(ordinal) .. place % 2
        if walked[name] then
            return
        end
        walked[name] = true
        local head
        if packed then
            head = pack('P' .. key)[ordinal]
        else
            local value = row('V' .. key .. bits(ordinal))
            head = value and slice(value, 1)
        end
        if not head then
            return
        end
        local at, kind = 1, head:byte(1)
        if kind == 5 then
            _, at = varint(head, 34)
            kind = head:byte(at)
        end
        if kind == 1 then
            return
        end
        _, at = varint(head, at + 2)
        branch, height, place = address(head, at)
    end
end

-- The values that a checkpoint's channels name. `wanted` is '*' or names with their lengths.
local function channels(namespace, stored, wanted)
    local names, at = {}, 1
    while wanted ~= '*' and at <= #wanted do
        local name
        name, at = slice(wanted, at)
        names[name] = true
    end
    _, at = slice(stored, 1)
    local manifest = slice(stored, at + 9)
    local head = slice(manifest, 1)
    local version = head:byte(1)
    at = 2
    if head:byte(at) == 1 then
        _, at = slice(head, at + 1)
    else
        at = at + 1
    end
    local has_origin = version == 2
    if version == 3 then
        has_origin = head:byte(at) == 1
        at = at + 1
    end
    if has_origin then
        _, at = slice(head, at + 16)
    end
    _, at = slice(head, at)
    _, at = varint(head, at)
    _, at = varint(head, at)
    local count
    count, at = varint(head, at)
    local branches = {}
    for index = 0, count - 1 do
        branches[index] = branch_bits(head:sub(at, at + 7))
        at = at + 8
    end
    count, at = varint(head, at)
    for _ = 1, count do
        local name, mark, height, place
        name, at = slice(head, at)
        mark, at = varint(head, at)
        height, at = varint(head, at)
        place, at = varint(head, at)
        if mark % 2 == 1 then
            _, at = slice(head, at)
        end
        if wanted == '*' or names[name] then
            chain(namespace, branches[math.floor(mark / 2)], height, place)
        end
    end
end

-- The id of a branch's tip.
local function tip_of(branch)
    if branch and branch:byte(9) == 1 then
        return (slice(branch, 18))
    end
end

-- A branch and those below it. A line is no longer than there are branches, whatever damaged rows say.
local function line(namespace, branch)
    while branch and not seen['b' .. namespace .. branch] do
        row('b' .. namespace .. branch)
        local stored, at = row('B' .. namespace .. branch), 10
        branch = nil
        if stored and stored:byte(9) == 1 then
            _, at = slice(stored, 18)
        end
        if stored and stored:byte(at) == 1 then
            branch = branch_bits(stored:sub(at + 1, at + 8))
        end
    end
end

local function checkpoint(namespace, id, packed)
    local place = row('I' .. namespace .. id)
    if place then
        local stored = row('C' .. namespace .. place)
        if packed then
            row('P' .. namespace .. place)
        end
        return place, stored
    end
end

-- Pending rows of a checkpoint in a lane, and the values that they name.
local function pending(namespace, id, lane)
    local found = starting('F' .. namespace .. id:gsub('%z', '\0\1') .. '\0\0' .. lane, -1, '0')
    for _, member in ipairs(found) do
        local stored = row(member)
        local head = stored and slice(stored, 1) or '\0'
        local count, at = varint(head, 1)
        for _ = 1, count do
            local branch, height, place
            branch, height, place, at = address(head, at)
            chain(namespace, branch, height, place)
        end
    end
end

local function place(namespace, kind, a, b, wanted, with_pending)
    local thread = row('T')
    if not thread then
        return
    end
    local head, branch, id = thread:sub(1, 8), nil, nil
    if kind == 'head' then
        branch = head
    elseif kind == 'branch' then
        branch = a
    elseif kind == 'named' then
        branch = (row('N' .. a) or ''):sub(1, 8)
    elseif kind == 'moment' then
        branch, id = a, b
    else
        id = a
    end
    local tip = tip_of(row('B' .. namespace .. (branch or head)))
    id = id or tip
    local found, stored
    if id then
        found, stored = checkpoint(namespace, id, wanted ~= '')
        branch = branch or (tip == id and head) or (found and found:sub(1, 8))
    end
    if not branch then
        return
    end
    row('B' .. namespace .. branch)
    local name = starting('n' .. branch, 1, '0')[1]
    if name then
        row('N' .. name:sub(10))
    end
    local height = found and struct.unpack('>I8', '\0' .. found:sub(10)) + 1 or 0
    starting('V' .. namespace .. branch .. bits(height), 1, '1')
    if stored and with_pending == '1' then
        pending(namespace, id, branch)
    end
    if stored and wanted ~= '' then
        channels(namespace, stored, wanted)
    end
end

local at = 1
local function take()
    local word = ARGV[at]
    at = at + 1
    return word
end

while at <= #ARGV do
    local what = take()
    if what == 'row' then
        row(take())
    elseif what == 'range' then
        local found = range(take(), take(), take(), take())
        local prefix, skip = take(), tonumber(take())
        for _, member in ipairs(found) do
            if skip >= 0 then
                row(prefix .. member:sub(skip + 1))
            end
        end
    elseif what == 'last' then
        local run = starting('R', 1, '1')[1]
        if run then
            row('R' .. run:sub(10))
        end
    elseif what == 'id' then
        checkpoint(take(), take(), take() == '1')
    elseif what == 'line' then
        local namespace, branch = take(), take()
        pcall(line, namespace, branch)
        row('B' .. namespace .. branch)
    elseif what == 'chain' then
        local namespace, branch, height, value = take(), take(), tonumber(take()), tonumber(take())
        pcall(chain, namespace, branch, height, value)
    else
        local namespace, kind, a, b, wanted, with_pending = take(), take(), take(), take(), take(), take()
        pcall(place, namespace, kind, a, b, wanted, with_pending)
    end
end
return { redis.call('GET', gone), fields, values, ranges }
