-- Take an operation, or renew having it, unless somebody else has it or it was done with a moment ago.
-- KEYS: holder. ARGV: runner, lease_ms. Answers {who has it now, for how many ms unless renewed}.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return {holder, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], tonumber(ARGV[2])}
