-- Say with which settings a process runs, for a while, and hear it of the others. Times are of Redis's clock.
-- KEYS: settings. ARGV: process, json, valid_ms. A field's value is its expiry, a space, and the json.
-- Answers process, json, process, json, ... of the other living processes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, others = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #known, 2 do
    local expiry, json = string.match(known[i + 1], '^(%d+) (.*)$')
    if not expiry or tonumber(expiry) < now then
        redis.call('HDEL', KEYS[1], known[i])
    elseif known[i] ~= ARGV[1] then
        others[#others + 1] = known[i]
        others[#others + 1] = json
    end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return others
