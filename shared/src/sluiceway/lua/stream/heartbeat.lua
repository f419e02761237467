-- The holder's heartbeat: it hears what became of its task, and renews TTLs, at half-time only: an EXPIRE is a change, and
-- wakes every reader. It proves nothing of its life: that is the lease of the holder's queue entry.
-- KEYS: meta, events. ARGV: attempt, ttl_ms, the last batch that was answered (0: none, or not known), for how many
-- whole seconds nothing followed it (optional).
-- Of a turn that shows nothing for long, `quiet` says which batch was its last, and since when (seconds since 1970): once,
-- so that a turn that shows something pays nothing for it.
-- Answers 'ok', 'cancelled', 'fenced' or 'lost' (Redis forgot the task, this attempt, or a batch: see append.lua).
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'cancel', 'batch', 'quiet')
if not known[1] then
    return 'lost'
end
if known[1] ~= ARGV[1] or known[2] ~= 'running' then
    return tonumber(known[1]) < tonumber(ARGV[1]) and 'lost' or 'fenced'
end
if tonumber(known[4] or 0) < tonumber(ARGV[3]) then
    return 'lost'
end
local quiet = tonumber(ARGV[4] or 0)
if quiet >= 5 and string.match(known[5] or '', '^(%d+) ') ~= (known[4] or '0') then
    redis.call('HSET', KEYS[1], 'quiet', string.format('%s %.0f', known[4] or '0', redis.call('TIME')[1] - quiet))
end
for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if left ~= -2 and left < ARGV[2] / 2 then
        redis.call('PEXPIRE', key, ARGV[2])
    end
end
if known[3] then
    return 'cancelled'
end
return 'ok'
