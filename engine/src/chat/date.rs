//! Dates for templates, without a clock.

/// A time in UTC. The engine reads no clock; its caller does.
///
/// ```
/// use edgellm::chat::DateTime;
///
/// assert_eq!(DateTime::from_unix(951_868_799).to_string(), "2000-02-29 23:59:59");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    year: i64,
    month: u8,
    day: u8,
    /// Seconds since midnight.
    seconds: u32,
    /// Days since Sunday.
    weekday: u8,
    /// Days since the first of January.
    day_of_year: u16,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const SECONDS_A_DAY: i64 = 86_400;
/// Days in 400 years, after which the Gregorian calendar repeats.
const DAYS_AN_ERA: i64 = 146_097;

impl DateTime {
    /// Seconds since 1970-01-01 00:00 UTC; for local time, add the offset.
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_A_DAY);
        // Years that begin in March have their leap day last, so that months have fixed starts.
        let since_era_zero = days + 719_468;
        let day_of_era = since_era_zero.rem_euclid(DAYS_AN_ERA);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = since_era_zero.div_euclid(DAYS_AN_ERA) * 400 + year_of_era + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year =
            if month > 2 { day_of_march_year + 59 + i64::from(leap) } else { day_of_march_year - 306 };
        DateTime {
            year,
            month: month as u8,
            day: (day_of_march_year - (153 * march_month + 2) / 5 + 1) as u8,
            seconds: seconds.rem_euclid(SECONDS_A_DAY) as u32,
            weekday: (days + 4).rem_euclid(7) as u8,
            day_of_year: day_of_year as u16,
        }
    }

    /// Formats as Python's `strftime`, in English.
    pub(super) fn format(&self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = format.chars();
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = WEEKDAYS[usize::from(self.weekday)];
        let (hour, minute, second) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('Y') => text += &self.year.to_string(),
                Some('y') => text += &format!("{:02}", self.year.rem_euclid(100)),
                Some('m') => text += &format!("{:02}", self.month),
                Some('d') => text += &format!("{:02}", self.day),
                Some('e') => text += &format!("{:2}", self.day),
                Some('j') => text += &format!("{:03}", self.day_of_year + 1),
                Some('B') => text += month,
                Some('b' | 'h') => text += &month[..3],
                Some('A') => text += weekday,
                Some('a') => text += &weekday[..3],
                Some('w') => text += &self.weekday.to_string(),
                Some('H') => text += &format!("{hour:02}"),
                Some('I') => text += &format!("{:02}", (hour + 11) % 12 + 1),
                Some('p') => text += if hour < 12 { "AM" } else { "PM" },
                Some('M') => text += &format!("{minute:02}"),
                Some('S') => text += &format!("{second:02}"),
                Some('F') => text += &self.format("%Y-%m-%d")?,
                Some('T') => text += &self.format("%H:%M:%S")?,
                Some('Z') => text += "UTC",
                Some('%') => text.push('%'),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("strftime_now: %{other} is not supported"));
                }
            }
        }
        Ok(text)
    }
}

impl std::fmt::Display for DateTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format("%F %T").map_err(|_| std::fmt::Error)?)
    }
}
