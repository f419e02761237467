-- How many workers are ready now, by Redis's clock. KEYS: live workers.
local time = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')
