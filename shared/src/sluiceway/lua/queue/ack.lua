-- Acknowledge and delete an entry together, if it is still the consumer's own. Deleting only what was delivered keeps
-- the group's lag right.
-- KEYS: queue. ARGV: group, consumer, entry id. Answers 1 when it was acknowledged.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then
    return 0
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
