-- Take a stream that has ended out of the registry, unless its task has a newer one, which was noted later.
-- KEYS: registry. ARGV: task id, a moment in ms. Answers 1 when it was taken out, else 0.
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and tonumber(noted) <= tonumber(ARGV[2]) then
    return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
