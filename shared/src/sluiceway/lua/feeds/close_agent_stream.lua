-- End a stream of agent events with its closing event, once.
-- KEYS: meta, published, events of slot 0, events of slot 1.
-- ARGV: retention_ms, generation ('' for the one that is), ms of silence that it must have had, then the JSON of the
-- closing event in two halves, between which its sequence belongs.
-- Answers {'closed', the moment in ms}, {'before', the moment in ms} (it had ended), {'open'} or {'unknown'}.
local known = redis.call('HMGET', KEYS[1], 'generation', 'sequence', 'status', 'slot', 'active', 'closed', 'user_id')
if not known[1] or (ARGV[2] ~= '' and ARGV[2] ~= known[1]) then
    return {'unknown'}
end
if known[3] ~= 'open' then
    return {'before', known[6]}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - known[5] < tonumber(ARGV[3]) then
    return {'open'}
end
local sequence = string.format('%.0f', known[2] + 1)
local closed = string.format('%.0f', math.max(now, known[1]))
local events = KEYS[3 + known[4]]
redis.call('XADD', events, known[1] .. '-' .. sequence, 't', 'connection_end', 'd', ARGV[4] .. sequence .. ARGV[5],
    'o', known[7] or '')
redis.call('HSET', KEYS[1], 'sequence', sequence, 'status', 'closed', 'active', closed, 'closed', closed)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('PEXPIRE', events, ARGV[1])
return {'closed', closed}
