-- How numbers are written: what stands before scripts that read records.

-- A number in a field.
local function bits(number)
    return '\128' .. struct.pack('>I8', number):sub(2)
end

-- A number of records, and where it ends.
local function varint(bytes, at)
    local value, scale = 0, 1
    while true do
        local byte = bytes:byte(at)
        at = at + 1
        if byte < 128 then
            return value + byte * scale, at
        end
        value = value + (byte - 128) * scale
        scale = scale * 128
    end
end

