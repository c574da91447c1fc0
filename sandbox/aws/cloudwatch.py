"""CloudWatch where moto 5.2.5 keeps what AWS does not: tags of alarms."""

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Call, Handler


def put_alarm(call: Call) -> Response:
    """Ignore the tags of a request that updates an alarm.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    watch = backends.backend("cloudwatch", call.request.region)
    alarm = watch.alarms.get(call.params["AlarmName"])
    tags = {} if alarm is None else watch.tagger.get_tag_dict_for_resource(alarm.alarm_arn)
    answer = call.forward()
    if alarm is not None:
        watch.tagger.delete_all_tags_for_resource(alarm.alarm_arn)
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        watch.tagger.tag_resource(alarm.alarm_arn, pairs)
    return answer


def delete_alarms(call: Call) -> Response:
    """Delete the tags with their alarms."""
    watch = backends.backend("cloudwatch", call.request.region)
    alarms = [watch.alarms[name] for name in call.params["AlarmNames"] if name in watch.alarms]
    answer = call.forward()
    for alarm in alarms:
        watch.tagger.delete_all_tags_for_resource(alarm.alarm_arn)
    return answer


HANDLERS: dict[str, Handler] = {"PutMetricAlarm": put_alarm, "DeleteAlarms": delete_alarms}
