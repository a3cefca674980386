-- Replaces the declared attributes of a scope, if they are still what was read.
--
-- KEYS: declared. ARGV: what was read ('' for nothing), what is declared now. The answer: 1 if it is.

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
