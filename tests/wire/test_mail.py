"""Section 11, for a server without a relay: mail is only logged, and addresses are not looked at"""
import pytest


@pytest.mark.parametrize('mail', [{'to': 'someone@example.org', 'subject': 'Hi', 'body': 'There'},
    {'to': '', 'subject': '', 'body': ''}, {'to': 'no address', 'subject': 'a\nb', 'body': 'größe\x00'},
                                  {'to': 'a@b', 'subject': 'x' * 10_000, 'body': 'y' * 100_000, 'more': 1}])
def test_mail_that_goes_nowhere(pod, mail):
    assert pod.ok('send_email', mail) == {}
    assert pod.exists() and len(pod.find()) == 14


def test_the_database_is_opened(pod):
    mail = {'to': 'someone@example.org', 'subject': 'Hi', 'body': 'There'}
    pod.make()
    pod.refused('send_email', mail, 500, 'not a database', key='AB' * 32)
    pod.refused('send_email', mail, 400, 'Invalid database key character', key='-')
