use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Option<String> {
    parse(text)?.read(None).map(|date| date.format("%Y-%m-%d %H:%M:%S").to_string())
}

#[test]
fn dates_are_read_as_people_write_them() {
    let texts = [
        "2024-12-31",
        "2024/12/31",
        "2024.12.31",
        "20241231",
        "31.12.2024",
        "12/31/2024",
        "12-31-24",
        "Dec 31 2024",
        "Dec. 31, 2024",
        "december 31st, 2024",
        "31 December 2024",
        "31. Dec 2024",
        "31-Dec-24",
        "2024 Dec 31",
        "2024-Dec-31",
        "Tuesday, December 31, 2024",
        "2024-12-31T00:00:00Z",
        "2024-12-31t00:00:00.000z",
        "2024-12-31 00:00:00+01:00",
        "2024-12-31 00:00 UTC",
        "Tue, 31 Dec 2024 00:00:00 +0000",
        "Tue Dec 31 00:00:00 2024",
        "12/31/2024 12:00 AM",
        "31.12.2024 00:00",
        "20241231T000000Z",
    ];
    for text in texts {
        assert_eq!(read(text).as_deref(), Some("2024-12-31 00:00:00"), "{text}");
    }
    for text in ["1998-06", "1998/6", "06/1998", "June 1998", "Jun-98", "1998 Jun"] {
        assert_eq!(read(text).as_deref(), Some("1998-06-01 00:00:00"), "{text}");
    }
}

#[test]
fn other_texts_are_not_dates() {
    let texts = [
        "soon",
        "",
        "1998",
        "12",
        "1.2.3",
        "2024-13-01",
        "30/30/2024",
        "Feb 30 2024",
        "Jun 12",
        "10:30",
        "2024-12-31 25:00",
        "2024-12/31",
        "may",
        "12 apples 2024",
        "555-1234",
        "192.168.0.1",
        "1/2",
        "2024-12-31 at noon",
    ];
    for text in texts {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn cells_that_one_order_reads_decide_for_their_column() {
    let order = |texts: &[&str]| {
        let mut votes = OrderVotes::default();
        texts.iter().filter_map(|text| parse(text)).for_each(|date| votes.add(date));
        votes.order()
    };
    assert_eq!(order(&["01/02/2024", "31/12/2024"]), Some(DateOrder::DayFirst));
    assert_eq!(order(&["01/02/2024", "12/31/2024"]), Some(DateOrder::MonthFirst));
    assert_eq!(order(&["01/02/2024", "2024-12-31"]), None);
    let date = parse("01/02/2024").unwrap();
    let month = |order| date.read(order).unwrap().month();
    assert_eq!((month(None), month(Some(DateOrder::DayFirst)), month(Some(DateOrder::MonthFirst))), (1, 2, 1));
    assert_eq!(parse("01.02.2024").unwrap().read(None).unwrap().month(), 2);
}

#[test]
fn numbers_since_1970_are_dates() {
    let day = |value, unit| since_1970(value, unit).map(|date| date.to_string());
    assert_eq!(day(1_735_603_200.0, EpochUnit::Seconds).as_deref(), Some("2024-12-31 00:00:00"));
    assert_eq!(day(1_735_603_200_500.0, EpochUnit::Milliseconds).as_deref(), Some("2024-12-31 00:00:00.500"));
    assert_eq!(
        (day(-1.0, EpochUnit::Seconds), day(f64::NAN, EpochUnit::Seconds), day(1e300, EpochUnit::Seconds)),
        (None, None, None)
    );
    assert!(is_plausible(1.7e9, EpochUnit::Seconds) && !is_plausible(1.7e9, EpochUnit::Milliseconds));
}

proptest! {
    #[test]
    fn formatted_date_reads_back_in_every_notation(days in 0i64..36_500, seconds in 0u32..86_400) {
        let date = DateTime::from_timestamp(days * 86_400 + i64::from(seconds), 0).unwrap().naive_utc();
        let formats = [
            "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S%.3f+02:00", "%d %B %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p",
            "%a, %d %b %Y %H:%M:%S +0000", "%a %b %e %H:%M:%S %Y", "%d-%b-%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y%m%dT%H%M%S",
        ];
        for format in formats {
            let text = date.format(format).to_string();
            prop_assert_eq!(parse(&text).and_then(|read| read.read(None)), Some(date), "{}", text);
        }
        for (format, order) in [("%d/%m/%Y %H:%M:%S", DateOrder::DayFirst), ("%m-%d-%Y %H:%M:%S", DateOrder::MonthFirst)] {
            let text = date.format(format).to_string();
            prop_assert_eq!(parse(&text).and_then(|read| read.read(Some(order))), Some(date), "{}", text);
        }
    }

    #[test]
    fn any_text_is_a_date_or_not(text in "[-0-9:/., TZ+]{0,24}|\\PC{0,70}|[0-9]{1,2}[-/. ][A-Za-zä]{2,5}[-/. ][0-9:]{0,8}") {
        let _ = parse(&text).map(|date| (date.read(None), date.read(Some(DateOrder::DayFirst))));
    }
}
