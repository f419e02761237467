-- A call has used another number of tokens than was thought: so many more, or fewer, as long as its slice counts.
-- KEYS: budget. ARGV: slice, difference.
local slice = 'k' .. ARGV[1]
if redis.call('HEXISTS', KEYS[1], slice) == 0 then
    return 0
end
return redis.call('HINCRBY', KEYS[1], slice, ARGV[2])
