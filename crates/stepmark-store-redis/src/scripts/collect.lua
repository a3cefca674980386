-- Takes a blob away that nobody used since it was looked at.
--
-- KEYS: blob (hash). ARGV: when it was used last. The answer: 1 if it is gone now.

local touched = redis.call('HGET', KEYS[1], 'touched')
if touched and touched ~= ARGV[1] then
    return 0
end
redis.call('UNLINK', KEYS[1])
return 1
